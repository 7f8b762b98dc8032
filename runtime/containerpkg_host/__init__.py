"""What containerpkg does on a host that has packages of container images.

Every line must be understood by Python 3.6, which is what Enterprise Linux 8 has for its system
programs; nothing but the standard library is there.
"""
