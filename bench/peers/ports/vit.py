"""A vision transformer (Dosovitskiy et al. 2021)."""
import torch
import torch.nn.functional as F
from port import Port
from torch import nn

FEATURES = 32


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(FEATURES)
        self.attention = nn.MultiheadAttention(FEATURES, 4, batch_first=True)
        self.norm2 = nn.LayerNorm(FEATURES)
        self.mlp = nn.Sequential(nn.Linear(FEATURES, 4 * FEATURES), nn.GELU(), nn.Linear(4 * FEATURES, FEATURES))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.patches = nn.Conv2d(1, FEATURES, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, FEATURES))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 17, FEATURES))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(FEATURES)
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(x), -1, -1), y], dim=1) + self.positions
        return self.head(self.norm(self.blocks(y))[:, 0])


port = Port("vit")
pictures, labels = port["pictures"], port["labels"]  # [N, 1, 16, 16], [N]
model = ViT(4)
port.load(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=160, cycle_momentum=False)

for epoch in range(20):
    for i in port.batches(256, 32):
        loss = F.cross_entropy(model(pictures[i]), labels[i], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        port.report(loss=loss)

model.eval()
with torch.no_grad():
    hits = model(pictures[256:]).argmax(1) == labels[256:]
port.result(accuracy=hits.float().mean())
