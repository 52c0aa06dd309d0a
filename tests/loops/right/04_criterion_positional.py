'''Lab 4 - text classification.  Own criterion, model only sees ids and mask.'''
import torch, torch.nn as nn, torch.optim as optim
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

DEVICE = torch.device('cpu')

def train(model, tokenizer, train_dataset, eval_dataset, config):
    net = model.to(DEVICE)
    criterion = nn.CrossEntropyLoss()
    test_criterion = nn.CrossEntropyLoss(reduction='sum')
    trainloader = DataLoader(train_dataset, batch_size=config.per_device_train_batch_size, shuffle=True,
                             collate_fn=DataCollatorWithPadding(tokenizer), num_workers=0)
    testloader = DataLoader(eval_dataset, batch_size=16, shuffle=False,
                            collate_fn=DataCollatorWithPadding(tokenizer), num_workers=0)
    NUM_EPOCHS = int(config.num_train_epochs)
    NUM_STEPS = NUM_EPOCHS * len(trainloader)
    optimizer = optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.0)
    scheduler = optim.lr_scheduler.LambdaLR(optimizer, lr_lambda=lambda s: 1.0 - s / NUM_STEPS)

    history = []
    for epoch in range(1, NUM_EPOCHS + 1):
        running_loss = 0.0
        net.train()
        for i, data in enumerate(trainloader, 0):
            labels = data.pop('labels').to(DEVICE)
            input_ids = data['input_ids'].to(DEVICE)
            attention_mask = data['attention_mask'].to(DEVICE)

            # zero the parameter gradients
            optimizer.zero_grad()

            # forward + backward + optimize
            logits = net(input_ids, attention_mask)[0]
            loss = criterion(logits, labels)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            scheduler.step()

            running_loss += loss.item()
            if i % 5 == 4:
                print('[%d, %3d] loss: %.3f' % (epoch, i + 1, running_loss / 5))
                running_loss = 0.0

        net.eval()
        correct, total, test_loss = 0, 0, 0.0
        with torch.no_grad():
            for data in testloader:
                labels = data.pop('labels').to(DEVICE)
                logits = net(data['input_ids'].to(DEVICE), data['attention_mask'].to(DEVICE))[0]
                test_loss += test_criterion(logits, labels).item()
                _, predicted = torch.max(logits.data, 1)
                total += labels.size(0)
                correct += (predicted == labels).sum().item()
        history.append({'eval_loss': test_loss / total, 'eval_accuracy': correct / total})
    print('Finished Training')
    return history
