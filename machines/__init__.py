"""A VM as commands: the command line of QEMU, dialogs with a running one, and the files that it reads."""
