"""What a training learns from, what it is judged by, and what it leaves. Without Ray."""
