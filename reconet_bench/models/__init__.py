"""A trained model as a file: loading, inspecting, exporting."""
