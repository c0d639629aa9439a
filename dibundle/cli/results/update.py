"""The results of ``dib update``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dibundle.cli.console import Console, Document
from dibundle.cli.results import documents
from dibundle.errors import human
from dibundle.files import digest, wording

if TYPE_CHECKING:
    from dibundle.sharing.update import UpdateResult
    from dibundle.sharing.ways import UpdatePlan


def show(name: str, result: UpdateResult, console: Console) -> None:
    """Print the fetched bundles or the fetched image, and where the result is."""
    image, plan = result.image, result.plan
    found = {"image": documents.image(image), "signed_by": result.signed_by}
    if plan is None:
        document = {"name": name, "how": "here", "size": 0, "image_size": 0, "bundles": [], "written": False}
        console.result("dib.update/1", {**document, **found})
        console.say(f"{name}: {digest.text(image.id)} is in {result.engine} already")
        return
    written = result.engine is None
    document = {**_document(name, plan), "size": result.fetched, "written": written, **found}
    console.result("dib.update/1", document)
    console.say_signed(result.signed_by)
    how = wording.count(len(plan.chain), "bundle") if plan.chain else "the image itself"
    how = "a wrapped bundle" if plan.is_wrapped else how
    if result.refused:
        how += f" and {result.refused} skipped"
    done = "written" if written else f"loaded into {result.engine} and checked"
    console.say(
        f"{name}: {human(result.fetched)} fetched, {how}; {done}, {digest.text(image.id)}, in {console.seconds:.1f} s"
    )


def _document(name: str, plan: UpdatePlan) -> Document:
    """Return the plan as a JSON document."""
    bundles = [{"digest": digest.text(step.delta.manifest), "size": step.delta.told.size} for step in plan.chain or ()]
    return {
        "name": name,
        "how": "wrapped" if plan.is_wrapped else "image" if plan.chain is None else "bundles",
        "size": plan.size,
        "image_size": plan.pull_size,
        "bundles": bundles,
    }


def show_plan(name: str, plan: UpdatePlan | None, console: Console) -> None:
    """Print the plan of an update. Each step of the plan has a line, and the alternative to the plan has a line."""
    if plan is None:
        document = {"name": name, "how": "here", "size": 0, "image_size": 0, "bundles": []}
        console.answer("dib.update-plan/1", document, [f"{wording.escape(name)}: the engine has the image already"])
        return
    lines = [
        f"{number}. bundle {digest.text(step.delta.manifest)}: {human(step.delta.told.size)}"
        for number, step in enumerate(plan.chain or (), 1)
    ]
    image = "the image itself: " + human(plan.pull_size)
    if plan.is_wrapped:
        lines.append(f"{wording.escape(name)}: a wrapped bundle, {human(plan.size)}, which is applied")
    elif plan.chain:
        count = wording.count(len(plan.chain), "bundle")
        lines.append(f"{wording.escape(name)}: {count}, {human(plan.size)}, instead of {image}")
    elif plan.chain_size is not None:
        lines.append(f"{wording.escape(name)}: {image}, because the bundles have {human(plan.chain_size)}")
    else:
        lines.append(f"{wording.escape(name)}: {image}, because no bundle leads from a local image to this image")
    console.answer("dib.update-plan/1", _document(name, plan), lines)
