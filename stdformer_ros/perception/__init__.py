"""The people in an image: detector, landmarks, identities.

In the order in which a frame passes: `detector` finds boxes, `landmarks` the pose in a region,
`tracking` keeps identities, `landmark_filters` smooths the landmarks; `people` calls them all.
"""

from stdformer_ros.perception.people import PeopleTracker

__all__ = ["PeopleTracker"]
