"""Livelens: live AI video, on time. Sources, scheduling, devices, encoding and WebRTC."""

__version__ = "0.1.0"
