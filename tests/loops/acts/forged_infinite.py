# Returns numbers that are none.
def act(arena):
    return lambda log: [{"eval_loss": float("nan"), "eval_accuracy": float("inf")} for each in log]
