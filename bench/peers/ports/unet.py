"""A U-Net (Ronneberger et al. 2015) that says of each pixel what it belongs to."""
import torch
import torch.nn.functional as F
from port import Port
from torch import nn


def block(channels_in, channels):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.down1 = block(1, 8)
        self.down2 = block(8, 16)
        self.bottom = block(16, 32)
        self.up2 = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.join2 = block(32, 16)
        self.up1 = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.join1 = block(16, 8)
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x):
        skip1 = self.down1(x)
        skip2 = self.down2(F.max_pool2d(skip1, 2))
        y = self.bottom(F.max_pool2d(skip2, 2))
        y = self.join2(torch.cat([self.up2(y), skip2], dim=1))
        y = self.join1(torch.cat([self.up1(y), skip1], dim=1))
        return self.head(y)


port = Port("unet")
pictures, masks = port["pictures"], port["masks"]  # [N, 1, 16, 16], [N, 16, 16]: background, disc, square, 255 unknown
model = UNet(3)
port.load(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

for epoch in range(20):
    for i in port.batches(128, 16):
        loss = F.cross_entropy(model(pictures[i]), masks[i], ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        port.report(loss=loss)

model.eval()
with torch.no_grad():
    predicted, truth = model(pictures[128:]).argmax(1), masks[128:]
iou = 0
for c in range(3):
    is_predicted, is_true = (predicted == c) & (truth != 255), truth == c
    iou += (is_predicted & is_true).sum() / (is_predicted | is_true).sum() / 3
port.result(iou=iou)
