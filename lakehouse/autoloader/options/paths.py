"""Where the files are: a load path with its globs, and object keys as paths and back."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lakehouse.errors import ConfigurationError
from lakehouse.storage.local_paths import CLOUDS, LOCAL, PATHS, cloud_of, foreign, is_local, local_key, mapped

_GLOB = re.compile(r"[*?\[{]")
_QUOTED = re.compile(r'[\x00-\x20\x7f%#?"<>\\^`{|}\[\]]')
_CLOUD_BUCKETS = {
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    "abfss": re.compile(r"[a-z0-9-]+@[a-z0-9-]+(\.[a-z0-9-]+)+"),
}
_SCHEMES = ("s3a", "s3", "s3n")
HOW_TO_READ = (
    "s3a://bucket/folder/, gs://bucket/folder/, abfss://container@account.dfs.core.windows.net/folder/ or /folder/"
)
HOW_TO_WRITE = "s3a://bucket/folder/ (or s3://, s3n://), or file:///folder/ or /folder/ without .."
"""What a path looks like, for messages."""


@dataclass(frozen=True)
class SourcePath:
    """The argument of ``load()``.

    Attributes:
        bucket: The bucket; ``LOCAL`` for a path of this machine.
        root: The folder that is listed: everything before the first glob, with a slash at its end, or empty.
        accepts: What keys must match as a whole.
        file: The key of the single file that the path may name; None with a glob or a slash at its end.
    """

    bucket: str
    root: str
    accepts: re.Pattern[str]
    file: str | None = None

    @classmethod
    def parse(cls, path: str, *, strict: bool = False) -> SourcePath:
        """Understands ``s3a://bucket/folder/*/{a,b}/``.

        Without ``strict`` a glob is Auto Loader's: ``*`` also crosses slashes, and a pattern accepts everything that
        begins with it. With ``strict`` it is Spark's: ``*`` stays between slashes, and the pattern names folders.

        Raises:
            ConfigurationError: it is a path that nothing here can read.
        """
        bucket, pattern = split_uri(path)
        found = _GLOB.search(pattern)
        if not found:
            root = pattern.rstrip("/") + "/" if pattern.strip("/") else ""
            file = pattern if pattern and not pattern.endswith("/") else None
            return cls(bucket, root, re.compile(re.escape(root) + r".+", re.DOTALL), file)
        root = pattern[: pattern.rfind("/", 0, found.start()) + 1]
        if strict:
            body = glob_regex(pattern.rstrip("/"), across_folders=False) + r"(/.*)?"
        else:
            body = glob_regex(pattern, across_folders=True) + r".*"
        return cls(bucket, root, re.compile(body, re.DOTALL))

    def covers(self, key: str) -> bool:
        """Whether the path names this key and no part of it below ``root`` is hidden, as Spark hides names."""
        if key == self.file:
            return True
        if not self.accepts.fullmatch(key):
            return False
        return not any(
            part.startswith(".") or (part.startswith("_") and "=" not in part) for part in self.below(key).split("/")
        )

    def below(self, key: str) -> str:
        """The part of a key that comes after ``root``; the name of the file that is the path itself."""
        return key.rsplit("/", 1)[-1] if key == self.file else key.removeprefix(self.root)


def require_there(source: SourcePath, path: str) -> None:
    """Makes sure that a local path exists. Without it the name is wrong, or it is another machine's.

    Raises:
        ConfigurationError: it does not exist.
    """
    if source.bucket != LOCAL or Path(f"/{source.root}").is_dir() or (source.file and Path(f"/{source.file}").exists()):
        return
    there = f"/{source.root}"
    raise ConfigurationError(
        f"there is no folder {there} on this machine",
        where=path,
        state="nothing was read or written",
        next_command=f"make it, or correct the path; {PATHS} says where paths of elsewhere are: {PATHS}=/Volumes/=..."
        if there.startswith(("/Volumes/", "/dbfs/"))
        else "make it, or correct the path; every machine of this Spark needs it under that name",
    )


def source_id(path: SourcePath) -> str:
    """A readable, unique name for the journal of a bucket's folder."""
    slug = re.sub(r"[^a-z0-9]+", "-", f"{path.bucket}/{path.root}".lower()).strip("-")[:40]
    return f"{slug}-{hashlib.sha256(f'{path.bucket}/{path.root}'.encode()).hexdigest()[:8]}"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3a://bucket/key``, or of a local path; the key is taken as it is written.

    Raises:
        ConfigurationError: another scheme, or no bucket.
    """
    uri = mapped(uri)
    if is_local(uri):
        return LOCAL, local_key(uri)
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme in CLOUDS and _CLOUD_BUCKETS[scheme].fullmatch(bucket):
        return f"{scheme}:{bucket}", key
    if scheme not in _SCHEMES or not bucket:
        raise ConfigurationError(
            f"not a path of an object store or of this machine: {uri!r}",
            where="cloudFiles",
            state="nothing was read or written",
            next_command=foreign(uri) or f"write it as {HOW_TO_WRITE}",
        )
    return bucket, key


def resolved(uri: str) -> str:
    """The path in the spelling that checkpoints keep, mapped where ``LAKEHOUSE_PATHS`` says so.

    Raises:
        ConfigurationError: see ``split_uri``.
    """
    bucket, key = split_uri(uri)
    return plain_uri(LOCAL, key) if bucket == LOCAL else mapped(uri)


def plain_uri(bucket: str, key: str) -> str:
    """The full path of an object, its key as it is: what ``split_uri`` takes."""
    if cloud_of(bucket):
        return f"{bucket.replace(':', '://', 1)}/{key}"
    return f"file:///{key}" if bucket == LOCAL else f"s3a://{bucket}/{key}"


def key_uri(bucket: str, key: str) -> str:
    """The full path of an object as Spark's ``_metadata.file_path`` spells it: reversible for every key."""
    return plain_uri(bucket, "") + _QUOTED.sub(lambda found: "%" + found[0].encode().hex().upper(), key)


def uri_key(uri: str) -> str:
    """The key in a path made by ``key_uri`` or by Spark."""
    return unquote(urlsplit(uri).path).removeprefix("/")


def glob_regex(pattern: str, *, across_folders: bool = False) -> str:
    r"""A Hadoop glob (``* ? [a-z] [^a] {one,two} \x``) as a regular expression."""
    anything, single = (".*", ".") if across_folders else ("[^/]*", "[^/]")
    out, depth, position = [], 0, 0
    while position < len(pattern):
        char = pattern[position]
        closing = pattern.find("]", position + 2)
        if char == "\\" and position + 1 < len(pattern):
            position += 1
            out.append(re.escape(pattern[position]))
        elif char == "[" and closing > 0:
            body = pattern[position + 1 : closing].replace("\\", r"\\")
            out.append("[" + ("^" + body[1:] if body[0] in "!^" else body) + "]")
            position = closing
        elif char == "{":
            depth += 1
            out.append("(?:")
        elif char == "}" and depth:
            depth -= 1
            out.append(")")
        elif char == "," and depth:
            out.append("|")
        else:
            out.append({"*": anything, "?": single}.get(char) or re.escape(char))
        position += 1
    if depth:
        raise ConfigurationError(
            f"a brace is not closed in the glob {pattern!r}",
            where="cloudFiles",
            state="nothing was read or written",
            next_command="close it, or write \\{ for the character itself",
        )
    return "".join(out)
