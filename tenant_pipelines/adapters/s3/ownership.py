"""Whose a bucket or a user is, by its tags."""

from collections.abc import Iterable, Mapping

from tenant_pipelines.domain.call import Mark

Tags = Mapping[str, str]


def is_ours(tags: Tags, mark: Mark) -> bool:
    """Whether the tags are the tenant's mark."""
    labels = mark.labels()
    return all(tags.get(name) == labels[name] for name in ("tenantId", "managedBy"))


def from_set(tag_set: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The API's list of Key and Value, as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in tag_set}


def to_set(tags: Tags) -> list[dict[str, str]]:
    """A mapping, as the API's list of Key and Value. Tags of the aws: kind are the server's own and left out."""
    return [{"Key": name, "Value": value} for name, value in tags.items() if not name.startswith("aws:")]
