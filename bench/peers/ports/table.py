"""A multilayer perceptron that predicts a column of a table from the others."""
import torch
import torch.nn.functional as F
from port import Port
from torch import nn

port = Port("table")
columns, target = port["columns"], port["target"]  # [N, 8], [N]
x = (columns - columns[:512].mean(0)) / columns[:512].std(0)
y = (target - target[:512].mean()) / target[:512].std()

model = nn.Sequential(
    nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.0),
    nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.0),
    nn.Linear(64, 1), nn.Flatten(0),
)
port.load(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)

for epoch in range(30):
    for i in port.batches(512, 64):
        loss = F.mse_loss(model(x[i]), y[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        port.report(loss=loss)

model.eval()
with torch.no_grad():
    error = F.mse_loss(model(x[512:]), y[512:])
port.result(r2=1 - error / y[512:].var())
