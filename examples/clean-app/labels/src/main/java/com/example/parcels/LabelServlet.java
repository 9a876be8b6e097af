package com.example.parcels;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.HexFormat;
import javax.servlet.http.HttpServlet;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import javax.sql.DataSource;

/** Prints the labels of parcels. */
public class LabelServlet extends HttpServlet {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final DataSource source;

    public LabelServlet(DataSource source) {
        this.source = source;
    }

    /** What a client sends, and no other class. */
    public record Job(String printer, String label) {}

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        try (Connection db = source.getConnection();
                PreparedStatement statement = db.prepareStatement("SELECT name FROM labels WHERE code = ?")) {
            statement.setString(1, request.getParameter("code"));
            ResultSet rows = statement.executeQuery();
            response.setStatus(rows.next() ? 200 : 404);
        } catch (SQLException e) {
            response.setStatus(500);
        }
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        Job job = JSON.readValue(request.getInputStream(), Job.class);
        new ProcessBuilder("lp", "-d", "labels", "-t", job.label()).start();
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            response.setHeader("ETag", HexFormat.of().formatHex(digest.digest(job.toString().getBytes())));
        } catch (GeneralSecurityException e) {
            response.setStatus(500);
        }
    }
}
