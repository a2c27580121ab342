"""The messages of TF Serving's client, as protobuf modules; `make protos` generates them from the .proto file."""
