"""The addresses of the fleet app."""

from django.contrib.auth import views as auth_views
from django.urls import path

page_patterns = [
    path("login/", auth_views.LoginView.as_view(template_name="fleet/login.html"), name="login"),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
]

api_patterns = []
