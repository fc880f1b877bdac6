"""SeaweedFS's ports beside S3's: without this any user of the machine could read and remove everything through them.

The HTTP ports of volumes and filer want signed tokens. The master's, which gives such tokens to whoever asks, and all
gRPC ports want a certificate that only this server has.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lakehouse.processes import write_private


def write_security(folder: Path) -> None:
    """Writes ``security.toml`` and a certificate into the server's working folder, new ones for each start."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lakehouse")])
    now = datetime.now(UTC)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    addresses = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8, plain = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    write_private(folder / "cert.pem", certificate.public_bytes(pem).decode())
    write_private(folder / "key.pem", key.private_bytes(pem, pkcs8, plain).decode())
    ours = f"cert = {json.dumps(str(folder / 'cert.pem'))}\nkey = {json.dumps(str(folder / 'key.pem'))}\n"
    ca = f"ca = {json.dumps(str(folder / 'cert.pem'))}\n"
    parts = [f"[grpc]\n{ca}"]
    parts += [f"[grpc.{part}]\n{ours}" for part in ("master", "volume", "filer", "s3", "admin", "worker", "client")]
    parts += [f"[https.master]\n{ours}{ca}"]
    for token in ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read"):
        parts.append(f'[{token}]\nkey = "{secrets.token_urlsafe(32)}"\n')
    write_private(folder / "security.toml", "\n".join(parts))
