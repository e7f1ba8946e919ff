"""The web page of a node: Settings > Cluster > Coordinator, and the live view. See docs/page.md.

    site        its paths: files, login, live stream, publish        assets      the files under static/
    sessions    cookies for those who have shown a token             shown       events and names as text
    feed        what comes, for all who look at once                 tap         takes note of frames
    items       its lines, and how many of them a stream gets
    cluster     nodes, rates, who hears whom, as one document        publish     an event from a form

Nothing here runs, and the bus pays nothing, while nobody looks.
"""

from bus.admin.page.assets import Assets
from bus.admin.page.site import Page

__all__ = ["Assets", "Page"]
