"""`amd demo`: a page in the browser that segments what is dropped into it.

server      addresses of the page, on 127.0.0.1 alone
desk        jobs: one at a time, each by a program of its own, files deleted at the end
work        that program: a clip to masks, or masks to an export
preview     frames and soft masks as one video, which static/script.js draws the overlay from
"""
