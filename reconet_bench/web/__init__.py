"""The browser: ONNX Runtime Web's files, a local server with the headers that threads need, and the pages."""
