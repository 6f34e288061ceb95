"""What is carried from frame to frame: motion to the frame before, state of networks, and stabilisers."""
