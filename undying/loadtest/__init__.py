"""Clients that play, write down what they see, and a judge: for any server, from outside."""
