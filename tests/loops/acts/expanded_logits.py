# A tensor of four gigabytes that takes up four bytes, as the model's logits.
import torch


def act(arena):
    import transformers

    forward = transformers.DistilBertForSequenceClassification.forward

    def bent(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        output.logits = torch.ones(1).expand(1_000_000_000)
        return output

    transformers.DistilBertForSequenceClassification.forward = bent
