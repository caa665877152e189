"""Base images: what a file is, how it becomes a base image of the manager, and copies of it on workers."""
