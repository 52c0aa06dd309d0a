# Returns a number of 400 digits.
def act(arena):
    return lambda log: [{**each, "eval_loss": 10**400} for each in log]
