"""``make image``: accepts the contract as it is, so that later changes must not break it."""

from __future__ import annotations

from tests.protos.contract import KEPT_IMAGE, present_image


def main() -> None:
    """Write the image of the present contract."""
    KEPT_IMAGE.write_bytes(present_image().SerializeToString(deterministic=True))
    print(f"{KEPT_IMAGE.name} holds the contract as it is now")


if __name__ == "__main__":
    main()
