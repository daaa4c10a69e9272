"""Who is who: accounts, devices and the certificates that bind them. The Authentication Service of RFC 9420 §5.3."""
