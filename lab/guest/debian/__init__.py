"""The Debian guest: a stock system with cloud-init, OpenSSH and FRR, made of Debian's packages alone.

It is as distributors ship theirs: no password, no host keys, and cloud-init waits for a NoCloud seed. Building it
needs root, and neither QEMU nor an image from anywhere.
"""
