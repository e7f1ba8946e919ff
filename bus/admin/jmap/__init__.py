"""JMAP (RFC 8620) without HTTP and without the Coordinator: JSON, requests, references, method calls."""
