"""A GRU (Cho et al. 2014) out of Linears, which reads a sequence of tokens and says what class it has."""
import torch
import torch.nn.functional as F
from port import Port
from torch import nn

HIDDEN = 32


class GRUCell(nn.Module):
    def __init__(self):
        super().__init__()
        self.of_input = nn.Linear(16, 3 * HIDDEN)
        self.of_state = nn.Linear(HIDDEN, 3 * HIDDEN)

    def forward(self, x, h):
        xr, xz, xn = self.of_input(x).chunk(3, dim=1)
        hr, hz, hn = self.of_state(h).chunk(3, dim=1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        return (1 - z) * torch.tanh(xn + r * hn) + z * h


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 16)
        self.cell = GRUCell()
        self.head = nn.Linear(HIDDEN, 8)

    def forward(self, tokens):
        h = torch.zeros(len(tokens), HIDDEN)
        for x in self.embedding(tokens).unbind(1):
            h = self.cell(x, h)
        return self.head(h)


port = Port("gru")
tokens, labels = port["tokens"], port["labels"]  # [N, 12], [N]
model = Classifier()
port.load(model)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(20):
    for i in port.batches(896, 64):
        loss = F.cross_entropy(model(tokens[i]), labels[i])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        port.report(loss=loss)

with torch.no_grad():
    hits = model(tokens[896:]).argmax(1) == labels[896:]
port.result(accuracy=hits.float().mean())
