"""A variational autoencoder (Kingma & Welling 2014)."""
import torch
import torch.nn.functional as F
from port import Port
from torch import nn


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 4 * 4, 2 * 8),
        )
        self.decoder = nn.Sequential(
            nn.Linear(8, 32 * 4 * 4), nn.ReLU(), nn.Unflatten(1, (32, 4, 4)),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        )

    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(log_variance / 2) * port.randn(*mean.shape)
        return self.decoder(z), mean, log_variance


port = Port("vae")
pictures = port["pictures"]  # [N, 1, 16, 16]
model = VAE()
port.load(model)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(30):
    for i in port.batches(len(pictures), 32):
        x = pictures[i]
        logits, mean, log_variance = model(x)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2 / len(x)
        loss = reconstruction + divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        port.report(loss=loss, divergence=divergence)
