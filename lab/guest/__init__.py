"""The guest of the lab: a Linux that boots in seconds, gets addresses by DHCP and offers a shell on its serial console.

It is built on the machine from the distribution's kernel and busybox, so no image has to be downloaded.
"""

from lab.guest.cache import accel, image

__all__ = ["accel", "image"]
