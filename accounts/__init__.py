"""Who may log in and do what, and who did it: accounts, logins, rights, the audit log."""
