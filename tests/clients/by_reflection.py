"""Creates, watches and deletes a store over gRPC, knowing only what reflection says.

An independent client: no file of this repository is read, no generated code is used.
Usage: by_reflection.py ADDRESS ROOT.pem STORE   (the token is read from standard input)
"""

import sys

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "shopfleet.admin.v1.Admin"
SERVER_NAME = "control-plane.shopfleet"


class Admin:
    """Calls methods of the admin service by name, with dictionaries."""

    def __init__(self, channel, token):
        database = ProtoReflectionDescriptorDatabase(channel)
        if SERVICE not in database.get_services():
            raise SystemExit(f"reflection does not name {SERVICE}: {database.get_services()}")
        self.service = DescriptorPool(database).FindServiceByName(SERVICE)
        self.channel = channel
        self.metadata = [("authorization", f"Bearer {token}")]

    def _parts(self, method, fields):
        found = self.service.methods_by_name[method]
        request = json_format.ParseDict(fields, GetMessageClass(found.input_type)())
        answer = GetMessageClass(found.output_type)
        path = f"/{SERVICE}/{method}"
        return path, request, answer

    def call(self, method, /, timeout=30, **fields):
        path, request, answer = self._parts(method, fields)
        stub = self.channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
        return stub(request, metadata=self.metadata, timeout=timeout)

    def stream(self, method, /, timeout=600, **fields):
        path, request, answer = self._parts(method, fields)
        stub = self.channel.unary_stream(path, type(request).SerializeToString, answer.FromString)
        return stub(request, metadata=self.metadata, timeout=timeout)


def finish(admin, operation):
    """Watches an operation until it ended; anything but success is an error."""
    last = operation
    for last in admin.stream("WatchOperation", id=operation.id):
        pass
    if last.state != "succeeded":
        raise SystemExit(f"{last.kind} of {last.store_name} ended {last.state}: {last.reason} {last.message}")
    return last


def main():
    address, root, store = sys.argv[1:4]
    token = sys.stdin.read().strip()
    with open(root, "rb") as pem:
        credentials = grpc.ssl_channel_credentials(root_certificates=pem.read())
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    with grpc.secure_channel(address, credentials, options) as channel:
        admin = Admin(channel, token)
        templates = [t.name for t in admin.call("ListTemplates").templates]
        if "refshop" not in templates:
            raise SystemExit(f"no refshop among {templates}")
        try:
            admin.call("CreateStore", name="Not A Name", template="nothing")
            raise SystemExit("a store with a bad name was accepted")
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
                raise
        finish(admin, admin.call("CreateStore", name=store, template="refshop", profiles={"search": "none"}))
        seen = admin.call("GetStore", store=store)
        if seen.status != "running" or not seen.url:
            raise SystemExit(f"{store} is {seen.status} at {seen.url!r}")
        watched = next(iter(admin.stream("WatchStores", timeout=30)))
        if not watched.change_seq:
            raise SystemExit("WatchStores began without a change_seq")
        finish(admin, admin.call("DeleteStore", store=store, now=True))
    print(f"{store}: created, watched and deleted")


if __name__ == "__main__":
    main()
