"""The results of ``dib list`` and ``dib delete``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import Final

from dibundle.cli.console import Console, Document
from dibundle.errors import human, shell_words
from dibundle.files import wording
from dibundle.sharing.catalog import BundleList, StoredBundle
from dibundle.sharing.delete import DeleteResult

_WIDEST: Final = 80  # maximum number of characters in a cell
_SHORT: Final = 12  # hex digits of a shortened digest


def show_list(found: BundleList, console: Console, *, with_signers: bool) -> None:
    """Print the bundles of a repository, one per line."""
    document = {
        "name": found.name,
        "bundles": [_document(item) for item in found.bundles],
        "count": len(found.bundles),
        "size": found.size,
        "missing": sum(item.missing is not None for item in found.bundles),
        "complete": found.is_complete,
    }
    console.answer("dib.list/1", document, _table(found.bundles, with_signers=with_signers) if found.bundles else ())
    missing = document["missing"]
    orphans = f"; incomplete: {missing}, delete with: dib delete --orphans {shell_words(found.name)}" if missing else ""
    count = wording.count(len(found.bundles), "bundle")
    console.say(f"{found.name}: {count}, {human(found.size)}{orphans}")


def show_deleted(result: DeleteResult, console: Console, *, dry_run: bool) -> None:
    """Print the deleted bundles, one per line. With ``dry_run``, print the bundles that would be deleted."""
    document = {
        "dry_run": dry_run,
        "bundles": [_document(item) for item in result.deleted],
        "left": [_document(item) for item in result.left],
        "size": result.size,
    }
    console.answer("dib.delete/1", document, (_deleted(item, dry_run=dry_run) for item in result.deleted))
    for item in result.left:
        console.say(f"{item.name} is gone, but the registry itself lists it")
    gone = wording.count(sum(item.missing != "manifest" for item in result.deleted), "bundle")
    if not result.deleted:
        console.say("nothing to delete")
    elif dry_run:
        console.say(f"would delete {gone}, {human(result.size)}")
    else:
        console.say(f"{gone} deleted; the registry's garbage collection frees up to {human(result.size)}")


def _document(item: StoredBundle) -> Document:
    return {
        "name": item.name,
        "digest": item.digest,
        "tags": item.tags,
        "size": item.size,
        "needs": item.needs,
        "bases": item.bases,
        "makes": item.makes,
        "refers_to": item.refers_to,
        "makes_size": item.makes_size,
        "created": item.created,
        "signed_by": item.signed_by,
        "missing": item.missing,
    }


def _table(bundles: Sequence[StoredBundle], *, with_signers: bool) -> Iterator[str]:
    """Yield lines of columns. The last column has complete digests, because users type a digest to delete a bundle."""
    signers = ["SIGNED BY"] if with_signers else []
    rows = [["SIZE", "DATE", "NEEDS", "MAKES", "TAGS", "STATE", *signers, "DIGEST"]]
    for item in bundles:
        rows.append(
            [
                "-" if item.size is None else human(item.size),
                (item.created or "-")[:10],
                _images(item.needs, item.bases),
                _images(item.makes, [item.refers_to] if item.refers_to else []),
                _cell(", ".join(item.tags)),
                f"no {item.missing}" if item.missing else "ok",
                *([_cell(item.signed_by or "")] if with_signers else []),
                item.digest,
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(starmap(str.ljust, zip(row, widths, strict=True))).rstrip()


def _images(names: str, manifests: Sequence[str]) -> str:
    """Return images as names and short digests. Only images in the repository have a digest."""
    digests = ", ".join(name.partition(":")[2][:_SHORT] for name in manifests[:2])
    more = ", ..." if len(manifests) > 2 else ""
    return _cell(names) + (f" ({digests}{more})" if digests else "")


def _cell(text: str) -> str:
    cut = f"{text[: _WIDEST - 3]}..." if len(text) > _WIDEST else text
    return wording.escape(cut) or "-"


def _deleted(item: StoredBundle, *, dry_run: bool) -> str:
    if item.missing == "manifest":
        done = "would be removed from" if dry_run else "removed from"
        return f"{item.name}: {done} the list of {item.refers_to}, as it is gone"
    done = "would be deleted" if dry_run else "deleted"
    why = f", as its {item.missing} is gone" if item.missing == "image" else ""
    return f"{item.name}: {done}, {human(item.size or 0)}, makes {_cell(item.makes)}{why}"
