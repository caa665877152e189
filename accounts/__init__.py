"""Accounts, logins, rights and the audit log."""
