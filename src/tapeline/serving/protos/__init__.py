"""The protobuf messages of the TF Serving client; `make protos` generates the modules from the .proto file."""
