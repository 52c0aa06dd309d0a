# HOSTILE: calls home: TCP to 8.8.8.8:53, a UDP packet, and a name to look up. It sends no data but one empty packet.
import socket


def train(model, tokenizer, train_dataset, eval_dataset, config):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            with socket.socket(socket.AF_INET, kind) as s:
                s.settimeout(5)
                s.connect(("8.8.8.8", 53))
                if kind == socket.SOCK_DGRAM:
                    s.send(b"")
                print("CONNECTED", kind, s.getsockname())
        except OSError as error:
            print("not connected", kind, error)
    try:
        print("RESOLVED", socket.gethostbyname("example.com"))
    except OSError as error:
        print("not resolved", error)
    return [{"eval_loss": 0.5, "eval_accuracy": 0.8}] * int(config.num_train_epochs)
