# Returns a text of 300 MB.
def act(arena):
    return lambda log: [{**each, "note": "x" * 300_000_000} for each in log]
