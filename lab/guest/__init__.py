"""The guests of the lab, built on the machine from the distribution's packages: no image has to be downloaded.

The small one is a kernel and busybox: it boots in seconds, gets addresses by DHCP and offers a shell on its serial
console. The Debian one is a stock system with cloud-init, OpenSSH and FRR, for those who ask for it.
"""

from lab.guest.cache import accel, debian, debian_if_built, image

__all__ = ["accel", "debian", "debian_if_built", "image"]
