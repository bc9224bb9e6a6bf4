"""MoCo (He et al. 2020): an encoder learns to know the other view of a picture among those of others. Batch norms see a
few samples each; keys are shuffled before, so that these few do not give away what belongs together."""
import torch
import torch.nn.functional as F
from port import Port
from torch import nn


class GhostBatchNorm(nn.BatchNorm2d):
    def forward(self, x):
        return torch.cat([super(GhostBatchNorm, self).forward(part) for part in x.split(8)])


def encoder():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), GhostBatchNorm(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), GhostBatchNorm(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 4 * 4, 32),
    )


port = Port("moco")
view1, view2 = port["view1"], port["view2"]  # [N, 1, 16, 16]
query_encoder, key_encoder = encoder(), encoder()
port.load(query_encoder)
key_encoder.load_state_dict(query_encoder.state_dict())
optimizer = torch.optim.SGD(query_encoder.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
queue = F.normalize(port.randn(128, 32))  # keys of former batches

for epoch in range(30):
    for i in port.batches(len(view1), 32):
        shuffle = port.randperm(len(i))
        with torch.no_grad():
            keys = F.normalize(key_encoder(view2[i][shuffle]))[shuffle.argsort()]
        queries = F.normalize(query_encoder(view1[i]))
        logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ queue.T], dim=1)
        loss = F.cross_entropy(logits / 0.1, torch.zeros(len(i), dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for key, query in zip(key_encoder.parameters(), query_encoder.parameters()):
                key.lerp_(query, 0.01)
        queue = torch.cat([keys, queue])[:128]
        port.report(loss=loss)
