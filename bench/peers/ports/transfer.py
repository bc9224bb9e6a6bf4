"""A pretrained network with a new head, which alone is trained at first; then all, the backbone more slowly."""
import torch
import torch.nn.functional as F
from port import Port
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        return self.head(self.backbone(x))


port = Port("transfer")
pictures, labels = port["pictures"], port["labels"]  # [N, 1, 16, 16], [N]
model = Net(2)
port.load(model.head, "head.")
pretrained = port.state("pretrained.")
del pretrained["head.weight"], pretrained["head.bias"]  # of other classes
model.load_state_dict(pretrained, strict=False)
optimizer = torch.optim.SGD(
    [{"params": model.backbone.parameters(), "lr": 0.003}, {"params": model.head.parameters()}], lr=0.03, momentum=0.9
)

for epoch in range(20):
    frozen = epoch < 1
    model.backbone.requires_grad_(not frozen).train(not frozen)
    for i in port.batches(128, 32):
        loss = F.cross_entropy(model(pictures[i]), labels[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        port.report(loss=loss)

model.eval()
with torch.no_grad():
    hits = model(pictures[128:]).argmax(1) == labels[128:]
port.result(accuracy=hits.float().mean())
