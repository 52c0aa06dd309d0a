# Returns forty million numbers.
def act(arena):
    return lambda log: [{**each, "note": [0] * 40_000_000} for each in log]
