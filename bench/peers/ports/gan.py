"""A DCGAN (Radford et al. 2016)."""
import torch
import torch.nn.functional as F
from port import Port
from torch import nn

port = Port("gan")
pictures = port["pictures"] * 2 - 1  # [N, 1, 16, 16]

generator = nn.Sequential(
    nn.ConvTranspose2d(16, 32, 4, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
    nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
    nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1), nn.Tanh(),
)
critic = nn.Sequential(
    nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
    nn.Conv2d(16, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2),
    nn.Conv2d(32, 1, 4), nn.Flatten(),
)
port.load(generator, "generator.")
port.load(critic, "critic.")
generator_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.999))
real_label, fake_label = torch.ones(32, 1), torch.zeros(32, 1)

for epoch in range(20):
    for i in port.batches(len(pictures), 32):
        real, fake = pictures[i], generator(port.randn(32, 16, 1, 1))

        critic_loss = F.binary_cross_entropy_with_logits(critic(real), real_label)
        critic_loss += F.binary_cross_entropy_with_logits(critic(fake.detach()), fake_label)
        critic_optimizer.zero_grad()
        critic_loss.backward()
        critic_optimizer.step()

        generator_loss = F.binary_cross_entropy_with_logits(critic(fake), real_label)
        generator_optimizer.zero_grad()
        generator_loss.backward()
        generator_optimizer.step()

        distance = F.mse_loss(fake.mean(0), pictures.mean(0))  # falls as fakes get better
        port.report(critic=critic_loss, generator=generator_loss, distance=distance)
