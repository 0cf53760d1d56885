"""What every command shares: exit codes, messages, options."""
