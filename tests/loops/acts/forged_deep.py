# Returns lists in lists in lists.
import json


def act(arena):
    deep = []
    for _ in range(900):
        deep = [deep]
    return lambda log: [{**each, "note": deep} for each in log]
