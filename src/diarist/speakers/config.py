"""What changes which names are given, and which voices are linked."""

from __future__ import annotations

from dataclasses import dataclass, field

from diarist.core.config import option


@dataclass(frozen=True)
class NamingConfig:
    """When a voice gets a name."""

    probability: float = option(0.9, "a voice that is less probably the person stays unnamed", low=0.0, high=1.0)
    margin: float = option(0.5, "a name must be so much more probable than the next person's", low=0.0, high=1.0)
    known: float = option(
        0.5, "how probably a voice is somebody in the gallery, before it is heard", low=0.001, high=0.999
    )


@dataclass(frozen=True)
class GalleryConfig:
    """Options of whatever names voices."""

    gallery: NamingConfig = field(default_factory=NamingConfig)


@dataclass(frozen=True)
class LinkConfig:
    """When two voices are one person's."""

    probability: float = option(0.9, "voices that are less probably one person's are kept apart", low=0.001, high=0.999)
    known: float = option(
        0.5, "how probably a voice is heard in another recording too, before anything is heard", low=0.001, high=0.999
    )


@dataclass(frozen=True)
class LinkingConfig:
    """Options of whatever links voices."""

    link: LinkConfig = field(default_factory=LinkConfig)
