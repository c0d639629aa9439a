import dibundle
from dibundle import Access, Signers


def create() -> None:
    result = dibundle.create("old.tar", "new.tar", "update.dib", level=9)
    print(result.size, "bytes for", result.target_size)


def estimate() -> None:
    found = dibundle.estimate("old.tar", "new.tar")
    print("about", found.size, "bytes in", round(found.seconds), "s")


def apply() -> None:
    with open("again.tar", "wb") as file:
        file.writelines(dibundle.apply(["old.tar", "update.dib"]))


def apply_to() -> None:
    result = dibundle.apply_to(["old.tar", "update.dib"], "new.oci.tar", form="oci-archive")
    print(result.outputs[0].name, result.outputs[0].size)


def check() -> None:
    result = dibundle.check(["old.tar", "update.dib"])
    print(result.error or f"can be made, with {result.temporary} bytes of temporary space")


def load() -> None:
    result = dibundle.load(["old.tar", "update.dib"], engine="docker")
    print([image.names for image in result.images])


def open_bundle() -> None:
    with dibundle.open_bundle("update.dib") as bundle:
        print("makes", bundle.makes[0].sha256)
        largest = sorted(bundle.operations("old.tar"), key=lambda line: -line.stored)[:10]
        print([(line.path, line.stored) for line in largest])


def verify() -> None:
    result = dibundle.verify("update.dib", "old.tar")
    print("rebuilds", [target.sha256 for target in result.targets])


def merge() -> None:
    dibundle.create("new.tar", "newer.tar", "next.dib")
    dibundle.merge(["old.tar", "update.dib", "next.dib"], "both.dib")


def inventory() -> None:
    with open("far.json", "w") as file:
        file.write(dibundle.inventory("old.tar"))
    dibundle.create("old.tar", "new.tar", "for-them.dib", inventory="far.json")


def diff() -> None:
    changes = dibundle.diff("old.tar", "new.tar")
    print(len(changes.lines), "paths", [(item.name, item.old, item.new) for item in changes.packages])


def report() -> None:
    dibundle.report("update.dib", "report.html", base="old.tar")


def sign() -> None:
    dibundle.sign("update.dib", key="id_ed25519")
    trusted = Access(signers=Signers(allowed="allowed_signers"))
    with dibundle.open_bundle("update.dib", access=trusted) as bundle:
        print("signed by", bundle.signed_by)


def wrap() -> None:
    dibundle.wrap("update.dib", "wrapped.tar", base="old.tar", tags=["app:1-2"])


def unwrap() -> None:
    dibundle.unwrap("wrapped.tar", "unwrapped.dib")


def push() -> None:
    result = dibundle.push("update.dib", "docker://localhost:5000/app:1-2")
    print(result.name, result.digest, "refers to", result.refers_to)


def push_wrapped() -> None:
    dibundle.push_wrapped("update.dib", "docker://localhost:5000/app:wrapped", base="old.tar")


def pull() -> None:
    dibundle.pull("docker://localhost:5000/app:1-2", "pulled.dib")


def plan_update() -> None:
    plan = dibundle.plan_update("docker://localhost:5000/app:2", ["old.tar"])
    print(plan.size, "bytes, of the image itself", plan.pull_size)


def update() -> None:
    result = dibundle.update("docker://localhost:5000/app:2", ["old.tar"], "fetched.tar")
    print(result.fetched, "bytes fetched")


def list_bundles() -> None:
    found = dibundle.list_bundles("docker://localhost:5000/app")
    print([(item.tags, item.needs, item.makes, item.size) for item in found.bundles])


def delete_bundles() -> None:
    found = dibundle.list_bundles("docker://localhost:5000/app")
    old = [item.name for item in found.bundles if "1-2" in item.tags]
    print(dibundle.delete_bundles(old).size, "bytes to be freed by the registry")


def delete_orphans() -> None:
    result = dibundle.delete_orphans("docker://localhost:5000/app", dry_run=True)
    print("would delete", [item.name for item in result.deleted])
