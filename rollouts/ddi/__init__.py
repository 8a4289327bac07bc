"""DDI: the open device protocol that existing OTA clients speak, so that they come here by changing a URL.

Facts of the protocol (hawkBit's Direct Device Integration API v1): paths without trailing slash, action ids as positive
31-bit integers, 200 and never 201 or 204, sleep as HH:MM:SS, exactly one of cancelAction, deploymentBase and
confirmationBase at a time.
"""
