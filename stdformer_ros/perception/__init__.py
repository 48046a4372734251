"""Who is where in the image: detector, landmarks, identities."""

from stdformer_ros.perception.people import PeopleTracker

__all__ = ["PeopleTracker"]
