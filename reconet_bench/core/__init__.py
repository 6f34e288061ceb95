"""What everything stands on: errors, records, files, tensors and the machine."""
