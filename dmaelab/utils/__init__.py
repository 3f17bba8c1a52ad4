"""Small things that every other room may use: errors, files, random addresses, logging."""
