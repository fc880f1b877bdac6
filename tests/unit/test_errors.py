from lakehouse.errors import AccessDenied, LakehouseError, StoreUnavailable, TerminalError, TransientError


def test_an_error_says_what_where_state_and_next():
    error = LakehouseError("it broke", where="here", state="nothing lost", next_command="lakehouse up")
    assert str(error).splitlines() == ["it broke", "  where  here", "  state  nothing lost", "  next   lakehouse up"]
    assert error.as_dict() == {
        "error": "LakehouseError",
        "what": "it broke",
        "where": "here",
        "state": "nothing lost",
        "next": "lakehouse up",
    }


def test_whether_a_retry_helps_is_a_type():
    assert issubclass(StoreUnavailable, TransientError)
    assert issubclass(AccessDenied, TerminalError)
